"""The application: the list of all routes, their handlers, and the access that each requires."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp

from edge.auth.authenticator import Access, Authenticator
from edge.http import (
    actors,
    alert_calls,
    alertmanager,
    alerts,
    camera_mp4,
    catalogue,
    command_list,
    commands,
    deadletters,
    deliveries,
    docs,
    entities,
    history,
    ingest,
    pictures,
    portal,
    recordings,
    rule_trials,
    rules,
    run_list,
    runs,
    sessions,
    state,
    stills,
    streams,
    system,
    tickets,
    video,
    webhooks,
    whep,
)
from edge.http.batch import EventDoor
from edge.http.direct import DirectPublisher
from edge.http.endpoint import HttpEndpoint, with_faults_answered
from edge.http.middleware import AuthMiddleware
from edge.http.openapi.document import document
from edge.http.opener import StreamOpener
from edge.http.origin import OriginMiddleware, OriginRules
from edge.http.routing import IndexedRouter
from edge.http.traffic import RequestMetrics
from edge.runtime import Edge
from edge.settings import EdgeSettings, IdentitySettings
from edge.surfaces import table
from edge.webhooks.client.ssrf import GuardSettings
from router.alerts import ACTIONS
from router.broker import Broker
from router.nats.settings import BrokerSettings
from router.topology import TopologySettings


@asynccontextmanager
async def application(
    settings: EdgeSettings,
    broker_settings: BrokerSettings,
    topology_settings: TopologySettings,
    *,
    guard: GuardSettings | None = None,
    identity: IdentitySettings | None = None,
    metrics: bool = True,
) -> AsyncIterator[tuple[Starlette, Edge]]:
    """Connects to NATS, starts an edge, and yields its application; without `metrics` these have another port.

    Raises BadKey, Unreachable or Unsuitable.
    """
    async with (
        Broker(broker_settings, "edge", topology_settings) as broker,
        Edge(settings, broker, guard or GuardSettings(), identity).running() as edge,
    ):
        yield create_app(edge, show_metrics=metrics), edge


def create_app(edge: Edge, show_metrics: bool = True) -> Starlette:
    """Builds the application over a running edge; without metrics where another port has them."""
    app = Application(
        IndexedRouter(
            [
                _guarded(route, edge.authenticator)
                for route in routes()
                if show_metrics or getattr(route, "path", "") != "/metrics"
            ],
            with_faults_answered,
        ),
        edge.settings,
    )
    app.state.edge = edge
    rules = OriginRules(edge.settings)
    app.state.opener = StreamOpener(edge, rules, SESSION)
    app.state.door = EventDoor(edge.broker, edge.store)
    app.state.direct = DirectPublisher(edge, app.state.door, rules, "/events")
    app.state.document = openapi
    return app


class Application(Starlette):
    """Starlette's application, whose routes answer faults themselves: no middleware but one is before them."""

    def __init__(self, router: IndexedRouter, settings: EdgeSettings) -> None:
        super().__init__()
        self.router = router
        self._settings = settings

    def build_middleware_stack(self) -> ASGIApp:
        return OriginMiddleware(self.router, self._settings)


SESSION = "/callbacks/sessions/{session_id}"

# The access that a route requires; one that is not named here is for operators.
ACCESS: Mapping[str, Access] = {
    **table.ACCESS,
    # It is signed instead.
    f"{SESSION}/alerts": Access.OPEN,
    # By a signed link or with a token, as the handler finds out.
    "/runs/{run}/picture": Access.OPEN,
    **dict.fromkeys(
        (
            "/",
            "/client",
            "/client.js",
            "/console",
            "/console/",
            "/console/types.js",
            "/docs",
            "/docs/events",
            "/livez",
            "/readyz",
            "/openapi.json",
            "/portal/{session_id}",
            # The ticket is the proof.
            "/tickets/redeem",
        ),
        Access.OPEN,
    ),
    **dict.fromkeys(("/callbacks/sessions", f"{SESSION}/portal"), Access.TOKEN),
    # To change or delete it, the handlers want its owner.
    **dict.fromkeys((SESSION, f"{SESSION}/stats", f"{SESSION}/test"), Access.SESSION),
    **dict.fromkeys((f"{SESSION}/events", f"{SESSION}/refresh", "/me", "/tickets", "/events"), Access.TOKEN),
    **dict.fromkeys(("/actors", "/commands", "/commands/{actor}/{instance}/{command}"), Access.TOKEN),
    **dict.fromkeys(("/runs/{run}/lease", "/runs/{run}/stop"), Access.TOKEN),
    **dict.fromkeys(("/runs", "/runs/{run}", "/alerts", "/cameras", "/octanes"), Access.TOKEN),
    **dict.fromkeys(("/recordings", "/recordings/{id}"), Access.TOKEN),
    **dict.fromkeys(("/recordings/{id}.mp4", "/recordings/{id}/{n}.jpg"), Access.STREAM),
    **dict.fromkeys(("/entities", "/entities/{entity}", "/entities/{entity}/{part}"), Access.TOKEN),
    **dict.fromkeys(
        (
            "/alerts/alertmanager",
            "/alerts/{id}",
            "/alerts/{id}/unsnooze",
            *(f"/alerts/{{id}}/{what}" for what in ACTIONS),
        ),
        Access.TOKEN,
    ),
    **{
        f"{SESSION}/{way}": Access.SESSION
        for way in (
            "attempts",
            "deliveries/{delivery}",
            "resend",
            "recover",
            "replay",
            "recoveries",
            "recoveries/{recovery}",
            "health",
            "enable",
            "disable",
            "secret/rotate",
            "verify",
        )
    },
    **dict.fromkeys(("/schemas", "/schemas/{type}", "/asyncapi.json"), Access.TOKEN),
    **dict.fromkeys((f"{SESSION}/sse", f"{SESSION}/ws"), Access.STREAM),
    **{
        f"/{domain}/{{entity}}/{way}": Access.STREAM
        for domain in ("cameras", "octane")
        for way in ("mjpeg", "snapshot", "ws")
    },
    **dict.fromkeys((f"/cameras/{{entity}}/{way}" for way in ("stream.mp4", "whep", "whep/{peer}")), Access.STREAM),
    **dict.fromkeys(("/cameras/{entity}/still.jpg", "/cameras/{entity}/still.png"), Access.STREAM),
}


def _guarded(route: BaseRoute, authenticator: Authenticator) -> BaseRoute:
    """Has a route authenticate, measure and answer its requests, whatever it raises."""
    assert isinstance(route, (Route, WebSocketRoute, Mount))
    access = ACCESS.get(route.path, Access.OPERATOR)
    if isinstance(route, Route):
        route.app = HttpEndpoint(route.endpoint, route.path, access, authenticator)
    else:
        guarded = RequestMetrics(AuthMiddleware(route.app, access, authenticator), route.path)
        route.app = with_faults_answered(guarded)
    return route


@cache
def openapi() -> dict[str, Any]:
    """The OpenAPI document of all routes."""
    return document(routes(), ACCESS)


def routes() -> list[BaseRoute]:
    session = SESSION
    return [
        Route("/", system.console_page),
        Route("/client.js", system.client_module),
        Mount("/client", system.Console(directory=system.CLIENT)),
        Route("/console", system.to_console_page),
        Route("/console/", system.to_console_page),
        Route("/console/types.js", catalogue.console_types),
        Mount("/console", system.Console(directory=system.CONSOLE)),
        Route("/docs", docs.explorer_page),
        Route("/docs/events", docs.events_page),
        Route("/callbacks/sessions", sessions.list_sessions, methods=["GET"]),
        Route("/callbacks/sessions", sessions.create_session, methods=["POST"]),
        Route("/callbacks/stats", sessions.overall_stats),
        Route(session, sessions.read_session, methods=["GET"]),
        Route(session, sessions.change_session, methods=["PATCH"]),
        Route(session, sessions.delete_session, methods=["DELETE"]),
        Route(f"{session}/stats", sessions.session_stats),
        Route(f"{session}/portal", portal.open_portal, methods=["POST"]),
        Route("/portal/{session_id}", portal.show_portal),
        Route(f"{session}/test", sessions.test_session, methods=["POST"]),
        Route(f"{session}/refresh", sessions.refresh_session, methods=["POST"]),
        Route(f"{session}/alerts", alert_calls.act_by_webhook, methods=["POST"]),
        Route(f"{session}/attempts", webhooks.list_attempts),
        Route(f"{session}/deliveries/{{delivery}}", deliveries.read_delivery),
        Route(f"{session}/resend", webhooks.resend_delivery, methods=["POST"]),
        Route(f"{session}/recover", webhooks.recover_deliveries, methods=["POST"]),
        Route(f"{session}/replay", webhooks.replay_deliveries, methods=["POST"]),
        Route(f"{session}/recoveries", webhooks.list_recoveries),
        Route(f"{session}/recoveries/{{recovery}}", webhooks.read_recovery, methods=["GET"]),
        Route(f"{session}/recoveries/{{recovery}}", webhooks.cancel_recovery, methods=["DELETE"]),
        Route(f"{session}/health", webhooks.endpoint_health),
        Route(f"{session}/enable", webhooks.enable_endpoint, methods=["POST"]),
        Route(f"{session}/disable", webhooks.disable_endpoint, methods=["POST"]),
        Route(f"{session}/secret/rotate", webhooks.rotate_secret, methods=["POST"]),
        Route(f"{session}/verify", webhooks.verify_endpoint, methods=["POST"]),
        Route(f"{session}/events", streams.poll_session),
        Route(f"{session}/sse", streams.stream_session),
        WebSocketRoute(f"{session}/ws", streams.socket_session),
        Route("/me", sessions.read_me),
        Route("/tickets", tickets.give_ticket, methods=["POST"]),
        Route("/tickets/redeem", tickets.redeem_ticket, methods=["POST"]),
        Route("/events", ingest.publish_events, methods=["POST"]),
        Route("/events", history.read_events, methods=["GET"]),
        Route("/deadletters", deadletters.list_deadletters),
        Route("/deadletters/summary", deadletters.summarise_deadletters),
        Route("/deadletters/redrive", deadletters.redrive_deadletters, methods=["POST"]),
        Route("/deadletters/purge", deadletters.purge_deadletters, methods=["POST"]),
        Route("/deadletters/jobs", deadletters.list_redrives),
        Route("/deadletters/jobs/{job}", deadletters.read_redrive, methods=["GET"]),
        Route("/deadletters/jobs/{job}", deadletters.cancel_redrive, methods=["DELETE"]),
        Route("/deadletters/{id}", deadletters.read_deadletter, methods=["GET"]),
        Route("/deadletters/{id}", deadletters.delete_deadletter, methods=["DELETE"]),
        Route("/actors", actors.list_actors),
        Route("/commands", command_list.list_commands),
        Route("/commands/{actor}/{instance}/{command}", commands.give_command, methods=["POST"]),
        Route("/runs", run_list.list_runs),
        Route("/runs/{run}", run_list.read_run),
        Route("/runs/{run}/picture", pictures.run_picture),
        Route("/runs/{run}/lease", runs.hold_lease, methods=["POST"]),
        Route("/runs/{run}/lease", runs.release_lease, methods=["DELETE"]),
        Route("/runs/{run}/stop", runs.stop_run, methods=["POST"]),
        Route("/alerts", alerts.list_alerts),
        Route("/alerts/alertmanager", alertmanager.post_alertmanager, methods=["POST"]),
        Route("/alerts/{id}", alerts.read_alert),
        Route("/alerts/{id}/acknowledge", alerts.acknowledge_alert, methods=["POST"]),
        Route("/alerts/{id}/snooze", alerts.snooze_alert, methods=["POST"]),
        Route("/alerts/{id}/unsnooze", alerts.unsnooze_alert, methods=["POST"]),
        Route("/alerts/{id}/dismiss", alerts.dismiss_alert, methods=["POST"]),
        Route("/alerts/{id}/resolve", alerts.resolve_alert, methods=["POST"]),
        Route("/rules", rules.list_rules, methods=["GET"]),
        Route("/rules", rules.create_rule, methods=["POST"]),
        Route("/rules/validate", rules.validate_rule, methods=["POST"]),
        Route("/rules/test", rule_trials.test_rules, methods=["POST"]),
        Route("/rules/backtests", rule_trials.start_backtest, methods=["POST"]),
        Route("/rules/backtests/{backtest}", rule_trials.read_backtest, methods=["GET"]),
        Route("/rules/backtests/{backtest}", rule_trials.cancel_backtest, methods=["DELETE"]),
        Route("/rules/{name}", rules.read_rule, methods=["GET"]),
        Route("/rules/{name}", rules.change_rule, methods=["PUT"]),
        Route("/rules/{name}", rules.delete_rule, methods=["DELETE"]),
        Route("/rules/{name}/versions", rules.list_versions),
        Route("/rules/{name}/enable", rules.enable_rule, methods=["POST"]),
        Route("/rules/{name}/disable", rules.disable_rule, methods=["POST"]),
        Route("/entities", entities.list_entities),
        Route("/entities/{entity}", entities.read_entity),
        Route("/entities/{entity}/{part}", entities.read_part),
        Route("/cameras", state.list_cameras),
        Route("/octanes", state.list_octanes),
        Route("/cameras/{entity}/mjpeg", video.camera_mjpeg),
        Route("/cameras/{entity}/snapshot", stills.camera_snapshot),
        Route("/cameras/{entity}/still.jpg", stills.camera_still_jpeg),
        Route("/cameras/{entity}/still.png", stills.camera_still_png),
        WebSocketRoute("/cameras/{entity}/ws", video.camera_socket),
        Route("/recordings", recordings.list_recordings),
        Route("/recordings/{id}.mp4", recordings.download_recording),
        Route("/recordings/{id}", recordings.read_recording, methods=["GET"]),
        Route("/recordings/{id}", recordings.delete_recording, methods=["DELETE"]),
        Route("/recordings/{id}/{n}.jpg", recordings.recorded_still),
        Route("/cameras/{entity}/stream.mp4", camera_mp4.camera_film),
        Route("/cameras/{entity}/whep", whep.offer_peer, methods=["POST"]),
        Route("/cameras/{entity}/whep", whep.describe_peers, methods=["OPTIONS"]),
        Route("/cameras/{entity}/whep/{peer}", whep.change_peer, methods=["PATCH"]),
        Route("/cameras/{entity}/whep/{peer}", whep.end_peer, methods=["DELETE"]),
        Route("/octane/{entity}/mjpeg", video.octane_mjpeg),
        Route("/octane/{entity}/snapshot", video.octane_snapshot),
        WebSocketRoute("/octane/{entity}/ws", video.octane_socket),
        Route("/livez", system.livez),
        Route("/readyz", system.readyz),
        Route("/throughput", system.read_throughput),
        Route("/metrics", system.prometheus),
        Route("/openapi.json", system.openapi),
        Route("/asyncapi.json", catalogue.read_asyncapi),
        Route("/schemas", catalogue.list_schemas),
        Route("/schemas/{type}", catalogue.read_schema),
        *table.routes(),
    ]
