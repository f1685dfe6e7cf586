"""Reads and sets the camera of an Octane through its LiveLink service."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from actors.octane.camera import UP, CameraPose, Vector
from actors.octane.link import OctaneLink
from protos import octane_livelink_pb2 as livelink
from protos import octane_project_pb2 as project


async def read_camera(link: OctaneLink) -> CameraPose:
    """The camera as Octane has it. Raises Reject, Declined or Disconnected."""
    camera = await link.live_link("GetCamera", livelink.Empty(), livelink.CameraState)
    up = _vector(camera.up) if camera.HasField("up") else UP
    return CameraPose(
        _vector(camera.position),
        _vector(camera.target),
        up if any(up) else UP,
        camera.fov if camera.HasField("fov") and camera.fov > 0 else None,
    )


async def set_camera(link: OctaneLink, pose: CameraPose) -> None:
    """Moves the camera, and lets the render engine take it over. Raises Reject, Declined or Disconnected."""
    request = livelink.CameraState(position=_vec3(pose.position), target=_vec3(pose.target), up=_vec3(pose.up))
    if pose.fov is not None:
        request.fov = pose.fov
    await link.live_link("SetCamera", request, livelink.Empty)
    await apply_changes(link)


async def apply_changes(link: OctaneLink) -> None:
    """Lets the render engine take over what was changed in the scene. Raises Reject, Declined or Disconnected."""
    await link.changes("update", project.ApiChangeManager.updateRequest(), Empty)


def _vector(vector: livelink.Vec3) -> Vector:
    return vector.x, vector.y, vector.z


def _vec3(vector: Vector) -> livelink.Vec3:
    return livelink.Vec3(x=vector[0], y=vector[1], z=vector[2])
