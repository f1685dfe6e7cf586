"""Cameras and Octanes that are not there are answered as such."""

from __future__ import annotations

from tests.edge.conftest import RunningEdge


async def test_an_unknown_camera_is_a_404(edge: RunningEdge) -> None:
    for path, code in (
        ("/cameras/nope/snapshot", "camera_not_found"),
        ("/octane/nope/mjpeg", "octane_not_found"),
    ):
        answer = await edge.http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, code)
