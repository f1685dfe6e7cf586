"""The handlers of the HTTP surface, by resource; `edge/app.py` has the routes."""
