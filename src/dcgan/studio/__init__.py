"""The local web page: a server for one model, and its static files.

`serve(config)` runs it; `dcgan.studio.app.create_app(model)` is the ASGI application, for any server.
"""

from dcgan.studio.serve import serve

__all__ = ["serve"]
