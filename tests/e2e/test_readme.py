"""The README's commands and samples, copied and pasted: each does what the text beside it says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from actors.system.probe import Probe
from tests.browser.conftest import Tab
from tests.e2e.tree import RunningCallboard
from tests.edge.webhooks.stage import Receiver
from tests.ops.command import ROOT, environment
from tests.waiting import PATIENCE, eventually

README = (ROOT / "README.md").read_text()


def blocks(language: str, section: str) -> list[str]:
    """The code blocks of one language in a section, its subsections included."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


TEN_MINUTES = blocks("sh", "The first ten minutes")
# Words that tell one block from the others; each has a test of its own below.
RUN, SSE, POLL, PUBLISH, TAIL, WEBHOOK = "callboard run", "/sse", "/events?limit", "8000/events ", "tail", "webhook_url"


def block(words: str) -> str:
    (found,) = [block for block in TEN_MINUTES if words in block]
    return found


def pasted(text: str, tree: RunningCallboard, receiver: Receiver | None = None) -> str:
    """A sample as somebody pastes it who has other ports."""
    text = text.replace("localhost:8000", f"localhost:{tree.port}").replace("nats://127.0.0.1:4222", tree.nats_url)
    return text.replace("127.0.0.1:5000", f"127.0.0.1:{receiver.port}") if receiver else text


class Terminal:
    """A shell into which commands are typed, and what it shows."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.shown = ""
        self._process = process
        self._prompts = 0

    async def show(self) -> None:
        assert self._process.stdout
        while chunk := await self._process.stdout.read(65536):
            self.shown += chunk.decode(errors="replace")

    def type(self, text: str) -> None:
        """Types a block; whether it has ended is known by `prompt`."""
        assert self._process.stdin
        self._prompts += 1
        self._process.stdin.write(f"{text}\necho prompt {self._prompts}\n".encode())

    async def prompt(self, within: float = PATIENCE) -> str:
        """Waits until what was typed last has ended; all that was shown until then."""
        await eventually(lambda: f"prompt {self._prompts}\n" in self.shown, within)
        return self.shown

    async def shows(self, words: str, within: float = PATIENCE) -> None:
        try:
            await eventually(lambda: words in self.shown, within)
        except AssertionError:
            raise AssertionError(f"the terminal does not show {words!r}: {self.shown}") from None

    async def press_ctrl_c(self) -> None:
        """Interrupts the command that runs now."""
        pid = self._process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            os.kill(int(child), signal.SIGINT)
        await self.prompt()

    async def run(self, text: str, within: float = PATIENCE) -> str:
        """Types a block and waits for its end; what it alone has shown."""
        before = len(self.shown)
        self.type(text)
        await self.prompt(within)
        return self.shown[before:].removesuffix(f"prompt {self._prompts}\n")


@contextlib.asynccontextmanager
async def terminal(tree: RunningCallboard) -> AsyncIterator[Terminal]:
    """A shell in the repository's folder, in which our `callboard` is found, as after `activate`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{tree.environment['PATH']}"
    process = await asyncio.create_subprocess_exec(
        "bash",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=ROOT,
        env={**tree.environment, "PATH": path},
        start_new_session=True,
    )
    opened = Terminal(process)
    showing = asyncio.ensure_future(opened.show())
    try:
        yield opened
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await showing
        await process.wait()


def without_activate(text: str) -> str:
    """Where the tests' virtual environment lies elsewhere, there is nothing to activate."""
    return text if (ROOT / ".venv" / "bin" / "activate").exists() else text.replace(". .venv/bin/activate\n", "")


def test_every_command_of_the_first_ten_minutes_has_a_test_here() -> None:
    words = (RUN, SSE, POLL, PUBLISH, TAIL, WEBHOOK)

    assert TEN_MINUTES[0] == "make up\n"
    assert [sum(word in block for word in words) for block in TEN_MINUTES[1:]] == [1] * len(words)


async def test_the_job_is_run_and_read_over_sse_and_by_polling(running_callboard: RunningCallboard) -> None:
    tree = running_callboard
    async with terminal(tree) as first, terminal(tree) as second:
        second.type(pasted(block(SSE), tree))
        await second.shows("event: ready")
        first.type(without_activate(pasted(block(RUN), tree)))
        await first.shows("step 10/10")
        await first.prompt()

        # The page shows the bar from the run's state; the command's output reaches curl as it comes.
        await second.shows('"subject":"job.hello.completion"')
        assert second.shown.count('"event_type":"output"') == 10
        run = await state_of(tree, "hello")
        assert (run["status"], run["progress"], run["exit_code"]) == ("completed", 1.0, 0)

        await second.press_ctrl_c()
        page = json.loads(await second.run(pasted(block(POLL), tree)))
        assert len(page["events"]) == 3 and page["has_more"] is True
        # From the beginning of the session: what curl had shown first.
        # A line may follow curl's progress meter, which ends none.
        shown = re.findall(r'data: (\{"id".*)$', second.shown, re.MULTILINE)
        # A poll gives more digits of the time, to be gone on from.
        assert [_whole(event) for event in page["events"]] == [_whole(json.loads(text)) for text in shown[:3]]


def _whole(event: dict[str, Any]) -> dict[str, Any]:
    """An event with its time in seconds."""
    return {**event, "timestamp": event["timestamp"][:19]}


async def state_of(tree: RunningCallboard, run: str) -> dict[str, Any]:
    """The latest state of a run that is over."""
    async with httpx.AsyncClient(base_url=tree.url, trust_env=False, timeout=PATIENCE) as http:

        async def over() -> dict[str, Any] | None:
            answer = await http.get(f"/runs/{run}")
            found: dict[str, Any] = answer.json()
            shown: dict[str, Any] = found.get("data", found)
            return shown if shown.get("status") != "running" and answer.status_code == 200 else None

        return dict(await eventually(over))


async def test_an_event_published_by_curl_is_seen_by_tail(running_callboard: RunningCallboard) -> None:
    tree = running_callboard
    async with terminal(tree) as first, terminal(tree) as second:
        first.type(pasted(block(TAIL), tree))
        # Whoever tails everything sees the system's own events before ours.
        await eventually(lambda: first.shown.count("\n") > 0)

        answer = json.loads(await second.run(pasted(block(PUBLISH), tree)))

        assert answer["events"][0]["cursor"] if "events" in answer else answer["cursor"]
        await first.shows("agent.run-42.progress")
        await first.shows("half way")
        await first.press_ctrl_c()


async def test_the_webhook_s_receiver_is_told_and_the_secret_is_shown_once(running_callboard: RunningCallboard) -> None:
    tree = running_callboard
    async with Receiver().serving() as receiver, terminal(tree) as shell:
        session = json.loads(await shell.run(pasted(block(WEBHOOK), tree, receiver)))
        await shell.run(pasted(block(PUBLISH), tree))

        await eventually(lambda: receiver.posts)
        assert json.loads(receiver.posts[0].body)["event_type"] in ("progress", "completion")
        assert {"webhook-id", "webhook-timestamp", "webhook-signature"} <= receiver.posts[0].headers.keys()
        assert session["webhook_secret"].startswith("whsec_")
        async with httpx.AsyncClient(base_url=tree.url, trust_env=False, timeout=PATIENCE) as http:
            again = await http.get(f"/callbacks/sessions/{session['session_id']}")
        assert session["webhook_secret"] not in again.text


async def test_the_python_sample_is_seen_to_run_and_to_end(running_callboard: RunningCallboard, tmp_path: Path) -> None:
    sample = next(each for each in blocks("python", "The first ten minutes") if "run-42" in each)
    script = tmp_path / "sample.py"
    script.write_text(pasted(sample, running_callboard))

    # Nothing but the address in the sample says where to publish.
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(script)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    # Of a NATS that answers late, as on a busy machine, the SDK tells, and what it keeps it sends again.
    late = r"events of run run-42 (that are not stored yet wait on disk|cannot be stored|are stored again)"
    said = [line for line in done.stderr.splitlines() if not re.match(late, line)]
    assert (done.returncode, said) == (0, [])
    state = await state_of(running_callboard, "run-42")
    assert (state["status"], state["progress"]) == ("completed", 1.0)


@pytest.mark.parametrize("stopped", [False, True], ids=["to its end", "until it is stopped"])
async def test_the_shell_sample_runs_a_job_over_http(running_callboard: RunningCallboard, stopped: bool) -> None:
    sample = next(each for each in blocks("sh", "A run over HTTP") if "workflow_start" in each)
    run = f"curl-{secrets.token_hex(4)}"
    text = pasted(sample, running_callboard).replace("curl-7", run)
    async with httpx.AsyncClient(base_url=running_callboard.url, trust_env=False, timeout=PATIENCE) as http:
        if stopped:
            # The request is there before the first heartbeat, which is answered with it.
            for path, body in (("/events", {"subject": f"job.{run}.workflow_start"}), (f"/runs/{run}/lease", {}),
                               (f"/runs/{run}/stop", {"reason": "too dear"})):  # fmt: skip
                assert (await http.post(path, json=body)).is_success
            text = "\n".join(line for line in text.splitlines() if not line.startswith("say workflow_start"))

    done = await asyncio.to_thread(
        subprocess.run, ["bash", "-c", text], capture_output=True, text=True, timeout=PATIENCE, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    await eventually(lambda: _is(running_callboard, run, "cancelled" if stopped else "completed"))


async def test_the_alerts_commands_make_a_rule_list_what_it_raises_and_snooze_it(
    running_callboard: RunningCallboard,
) -> None:
    tree = running_callboard
    (sample,) = [each for each in blocks("bash", "Alerts") if "/rules -d" in each]
    make, listed, snooze = re.split(r"\n(?=curl)", pasted(sample, tree))
    async with httpx.AsyncClient(base_url=tree.url, trust_env=False, timeout=PATIENCE) as http, terminal(tree) as shell:
        assert '"name":"hot"' in (await shell.run(make)).replace('": "', '":"')
        await eventually(lambda: _in_force(http))
        hot = {"subject": "metric.readme.temperature", "data": {"celsius": 91}}
        assert (await http.post("/events", json=hot)).is_success
        await eventually(lambda: _raised(http))

        shown = await shell.run(listed)
        id = re.findall(r'"id":"(hot\.[^"]+)"', shown)[0]
        assert '"state":"snoozed"' in await shell.run(f"ID={id}\n{snooze}")
        assert (await http.delete("/rules/hot")).is_success


async def _in_force(http: httpx.AsyncClient) -> bool:
    return bool((await http.get("/rules/hot")).json()["in_force"])


async def _raised(http: httpx.AsyncClient) -> bool:
    return bool((await http.get("/alerts?state=active&rule=hot")).json()["alerts"])


async def _is(tree: RunningCallboard, run: str, status: str) -> bool:
    async with httpx.AsyncClient(base_url=tree.url, trust_env=False, timeout=PATIENCE) as http:
        answer = await http.get(f"/runs/{run}")
    return answer.status_code == 200 and answer.json()["status"] == status


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="module")
async def test_the_browser_sample_logs_events_and_keeps_its_cursor(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    _, sample = blocks("js", "The first ten minutes")
    logged: list[str] = []
    received: list[str | bytes] = []
    tab.page.on("console", lambda message: logged.append(message.text))
    tab.page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(frame)))
    await tab.page.goto(f"http://localhost:{running_callboard.port}/livez")
    await tab.page.add_script_tag(content=pasted(sample, running_callboard), type="module")
    # A session begins at its creation: what is published before that, this reader does not get.
    await eventually(lambda: received and '"ready"' in str(received[0]))
    event = {"subject": "agent.run-42.thinking", "data": {"thought": "as the sample shows"}}

    async with httpx.AsyncClient(base_url=running_callboard.url, trust_env=False, timeout=PATIENCE) as http:
        published = (await http.post("/events", json=[event])).json()["events"]

    await eventually(lambda: any("thinking" in line for line in logged))
    await tab.until("(cursor) => localStorage.cursor >= cursor", published[0]["cursor"])
    assert not [said for said in tab.complaints if said.startswith("uncaught")]


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="module")
async def test_the_sample_of_the_client_is_imported_and_reads(tab: Tab, running_callboard: RunningCallboard) -> None:
    sample, _ = blocks("js", "The first ten minutes")
    logged: list[str] = []
    tab.page.on("console", lambda message: logged.append(message.text))
    await tab.page.goto(f"http://localhost:{running_callboard.port}/livez")

    await tab.page.add_script_tag(content=pasted(sample, running_callboard), type="module")
    await eventually(lambda: any(line.startswith("live ") for line in logged))
    event = {"subject": "agent.run-42.progress", "data": {"progress": 0.5, "message": "as imported"}}
    async with httpx.AsyncClient(base_url=running_callboard.url, trust_env=False, timeout=PATIENCE) as http:
        (await http.post("/events", json=event)).raise_for_status()

    await eventually(lambda: any("as imported" in line for line in logged))
    assert not [said for said in tab.complaints if said.startswith("uncaught")]


async def test_the_actor_sample_passes_its_own_test() -> None:
    actor, test = blocks("python", "Write an actor")
    names: dict[str, Any] = {"__name__": "stock", "Probe": Probe}

    exec(compile(actor + test, "README.md", "exec"), names)
    (name,) = [name for name in names if name.startswith("test_")]

    await names[name]()
