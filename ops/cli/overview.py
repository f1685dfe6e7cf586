"""The text of `callboard --help`."""

OVERVIEW = """\
usage: callboard COMMAND [OPTIONS]

Callboard routes events from actors to whoever listens: one cursor over WebSocket, SSE, webhook and polling.

Run it
  up                start everything: NATS, the actors, the edge
  edge              serve HTTP only, beside a NATS that runs already
  actor NAME        run one actor: octane, camera, agent, alerts or metrics
  agents MODULE…    serve functions that are agents, for chats to start
  simulate octane   serve a simulated Octane, with the wire of a real one

Use it
  publish SUBJECT   say an event
  tail PATTERN…     follow events as they are said
  run -- COMMAND    run a command and publish its output, progress and end
  flush             deliver what runs left unsent, from the spools on this machine
  sessions          list who is subscribed
  octane            see what an Octane does, and control its render, camera and pictures
  camera            see what a camera does, set it, record it, and save stills
  demo chat         serve a chat that gives its callers callbacks, without a model

Look after it
  doctor            check that everything is well, and say how to mend what is not
  health            say whether the process here is ready: a container's health check
  logs              see how much a running process says, and change it
  deadletters       see what was given up, and send it again
  webhooks          see what was posted and how an endpoint is, and send it again
  rules             check, test and back-test alert rules
  types LANGUAGE    write the types of all known events in TypeScript or Python
  streams           compare a server's streams with what they should be, or make them so
  backup            save all streams of a running system into a folder
  restore           restore what was saved, into a new data folder or server
  token             make a token for development
  settings          show every setting, its value, and where that comes from
  version           show the versions

Begin with:
  callboard up
  callboard tail '>'
  callboard run -- sh -c 'for i in 25 50 75 100; do echo "$i%"; sleep 1; done'

`callboard COMMAND --help` says more. Every flag has a variable, too: `callboard settings` lists them.
"""
