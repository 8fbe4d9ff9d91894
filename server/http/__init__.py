"""ASGI: routes, middleware, event streams, the live page, the admin port, listeners."""
