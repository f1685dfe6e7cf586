"""The fast lane: after an ordinary handshake the socket leaves uvicorn for a slim protocol that writes shared bytes."""
