"""Chat libraries in a browser before a real edge: a page that is loaded anew, a second tab, a stop, an edge that is killed, no network.

Each library runs unchanged, on a page of another origin; an `@agent` answers. Whatever happens to a page, it shows what
the agent said, once, and one end.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, BrowserContext

from router.broker import Broker
from router.sdk import Run
from router.sdk.agents import AgentInput, agent
from router.sdk.agents.server import AgentServer
from tests.browser.conftest import Tab, Wire
from tests.browser.test_restarts import Tree
from tests.npm import Libraries
from tests.waiting import PATIENCE, eventually, unhurried

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

PAGE = Path(__file__).with_name("libraries_page.jsx")
LIBRARIES = ("ai-sdk", "ag-ui", "tanstack", "callboard", "browser", "eventsource", "fetch-event-source")
# `HttpAgent` says of a connection that broke what it should, and has a second observable fail unheard.
UNHEARD = {"uncaught: network error"}
AGENT = "speaker"
BLANK = "<!doctype html><title>chat</title><script type=module src=/page.js></script>"
OFFLINE_SECONDS = 10


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(libraries: Libraries) -> AsyncIterator[str]:
    """The address of the user's own server, which has the page."""
    bundle = await asyncio.to_thread(libraries.bundle, PAGE)
    app = web.Application()

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=BLANK, content_type="text/html")

    async def script(_request: web.Request) -> web.Response:
        return web.Response(text=bundle, content_type="text/javascript")

    app.add_routes([web.get("/", page), web.get("/page.js", script)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tree(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tree]:
    """An edge and the actor that watches runs."""
    tree = Tree(tmp_path_factory.mktemp("tree"), "edge", "agent")
    await tree.start()
    try:
        yield tree
    finally:
        await tree.stop()


class Turn:
    """One answer of the agent, in whatever pieces a test has it say."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.said = ""
        self.over = asyncio.Event()

    async def say(self, *words: str) -> None:
        for word in words:
            await self.run.chunk(word)
            self.said += word


class Speaker:
    """The agent: it says what a test has it say, until it is to end or is stopped."""

    def __init__(self) -> None:
        self.turns: dict[str, Turn] = {}

    async def speak(self, run: Run, _input: AgentInput) -> None:
        """The work of a turn."""
        assert run.run not in self.turns, "it was begun twice"
        turn = self.turns[run.run] = Turn(run)
        await turn.over.wait()

    async def turn(self, thread: str) -> Turn:
        """The answer in a thread, once it has begun."""
        found: Turn = await eventually(lambda: self.turns.get(thread))
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def speaker(tree: Tree) -> AsyncIterator[Speaker]:
    """The agent of all tests, in this process."""
    assert tree.callboard is not None
    async with Broker(unhurried(tree.callboard.nats_url), "speaker") as broker:
        speaker, stop, ready = Speaker(), asyncio.Event(), asyncio.Event()
        serving = asyncio.ensure_future(
            AgentServer([agent(AGENT)(speaker.speak)], broker, grace=1).run(stop, ready.set)
        )
        await ready.wait()
        yield speaker
        stop.set()
        await serving


class Chat:
    """A chat of one library in one browser: its tabs, and the thread."""

    def __init__(self, library: str, thread: str, context: BrowserContext, site: str, edge: str) -> None:
        self.thread = thread
        self.context = context
        self._address = f"{site}/?library={library}&edge={edge}&thread={thread}&agent={AGENT}"
        self.tabs: list[Tab] = []

    async def open(self) -> Tab:
        """One more tab of the same browser."""
        tab = Tab(await self.context.new_page())
        tab.page.on("pageerror", tab.failed)
        await tab.page.goto(self._address)
        await tab.until("() => window.send")
        self.tabs.append(tab)
        return tab

    async def shows(self, text: str) -> None:
        """Waits until all tabs show the text."""

        async def all_do() -> bool:
            for tab in self.tabs:
                seen = await tab.page.evaluate("shown")
                assert seen["text"] == text, seen
            return True

        await eventually(all_do)

    async def ends(self, text: str) -> None:
        """Waits until all tabs have seen the end; then each shows the text in one message, and has seen one end."""
        for tab in self.tabs:
            await tab.until("() => shown.ends.length")
        await self.shows(text)
        # What would come twice comes soon.
        await asyncio.sleep(0.5)
        for tab in self.tabs:
            seen = await tab.page.evaluate("shown")
            assert (seen["text"], len(seen["ends"]), len(seen["answers"])) == (text, 1, 1), seen
            assert set(tab.complaints) <= UNHEARD, tab.complaints


OpenChat = Callable[..., Awaitable[Chat]]


@pytest_asyncio.fixture(loop_scope="module")
async def chat(browser: Browser, site: str, tree: Tree, entity: str) -> AsyncIterator[OpenChat]:
    """Opens the chat of a library in a browser of its own."""
    contexts: list[BrowserContext] = []

    async def open_chat(library: str, edge: str = f"http://127.0.0.1:{tree.port}") -> Chat:
        context = await browser.new_context()
        context.set_default_timeout(PATIENCE * 1000)
        contexts.append(context)
        return Chat(library, f"{entity}-{library}", context, site, edge)

    yield open_chat
    for context in contexts:
        await context.close()


async def begun(chat: Chat, speaker: Speaker) -> tuple[Tab, Turn]:
    """A tab in which an answer has begun."""
    tab = await chat.open()
    await tab.page.evaluate("void send('hi')")
    turn = await speaker.turn(chat.thread)
    await turn.say("Grüß ", "Gott, ")
    await chat.shows(turn.said)
    return tab, turn


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_page_that_is_loaded_anew_goes_on_with_the_answer(
    chat: OpenChat, speaker: Speaker, library: str
) -> None:
    one = await chat(library)
    tab, turn = await begun(one, speaker)

    await turn.say("liebe ")
    reloading = asyncio.ensure_future(tab.page.reload())
    await turn.say("Leute")
    await reloading
    await one.shows(turn.said)
    await turn.say("!")
    await one.shows(turn.said)
    turn.over.set()

    await one.ends(turn.said)
    if library == "tanstack":
        # It keeps nothing in the page: the edge tells what was asked, and once the run is over the answer.
        assert await tab.page.evaluate("shown.asked") == ["hi"]
        await tab.page.reload()
        await one.shows(turn.said)


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_second_tab_has_the_whole_answer_and_stops_it_for_both(
    chat: OpenChat, speaker: Speaker, tree: Tree, library: str
) -> None:
    one = await chat(library)
    _, turn = await begun(one, speaker)

    second = await one.open()
    await turn.say("liebe ", "Leute")
    await one.shows(turn.said)
    if library == "callboard":
        assert await readers(tree) == 1
    await second.page.evaluate("void stop()")

    await one.ends(turn.said)


async def readers(tree: Tree) -> int:
    """How many connections read events at the edge."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{tree.port}", trust_env=False, timeout=PATIENCE) as http:
        figures = (await http.get("/callbacks/stats")).raise_for_status().json()["readers"]
        return int(figures["websocket"] + figures["sse"])


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "ends"])
async def test_an_edge_that_is_killed_or_ends_in_order_costs_no_word(
    chat: OpenChat, speaker: Speaker, tree: Tree, by: signal.Signals
) -> None:
    chats = [await chat(library) for library in LIBRARIES]
    turns = [turn for _, turn in await asyncio.gather(*(begun(one, speaker) for one in chats))]

    killing = asyncio.ensure_future(tree.restart_edge(by))
    for n in range(20):
        for turn in turns:
            await turn.say(f"{n} ")
        await asyncio.sleep(0.05)
    await killing

    await all_go_on(chats, turns)


async def test_ten_seconds_without_a_network_cost_no_word(
    chat: OpenChat, speaker: Speaker, tree: Tree, wire: Callable[[str], Wire]
) -> None:
    async with wire(f"http://127.0.0.1:{tree.port}") as relay:
        chats = [await chat(library, relay.url) for library in LIBRARIES]
        turns = [turn for _, turn in await asyncio.gather(*(begun(one, speaker) for one in chats))]
        before = turns[0].said

        # chromium refuses new requests and says so to the page; what is open it leaves open.
        for one in chats:
            await one.context.set_offline(True)
        relay.cut()
        for n in range(OFFLINE_SECONDS):
            for turn in turns:
                await turn.say(f"{n} ")
            await asyncio.sleep(1)
        for one in chats:
            assert (await one.tabs[0].page.evaluate("shown"))["text"] == before
        relay.mend()
        for one in chats:
            await one.context.set_offline(False)
        await all_go_on(chats, turns)


async def all_go_on(chats: list[Chat], turns: list[Turn]) -> None:
    """Says one more word to each and ends it."""
    for one, turn in zip(chats, turns, strict=True):
        await turn.say("da")
        await one.shows(turn.said)
        turn.over.set()
    await asyncio.gather(*(one.ends(turn.said) for one, turn in zip(chats, turns, strict=True)))
