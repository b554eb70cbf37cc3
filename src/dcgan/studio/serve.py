"""`dcgan studio`: from settings to a listening server."""

from __future__ import annotations

import contextlib
import secrets
import socket
import sys
import webbrowser
from pathlib import Path

from dcgan.config import StudioConfig
from dcgan.errors import DcganError
from dcgan.model_file import MODEL_FILE
from dcgan.studio.runs import Run, find_run


def serve(config: StudioConfig) -> None:
    """Serve until interrupted. Raises `DcganError` for no model, a taken port, or a missing package."""
    try:
        import uvicorn

        from dcgan.studio.app import create_app
    except ModuleNotFoundError as error:
        if error.name not in ("uvicorn", "starlette", "anyio"):
            raise
        raise DcganError("the studio needs starlette and uvicorn: pip install 'dcgan[studio]'") from error
    from dcgan.studio.model import StudioModel

    path = chosen_model(config.model)
    token = (config.token or secrets.token_urlsafe(18)) if config.public else None
    with listen("0.0.0.0" if config.public else "127.0.0.1", config.port) as listening:
        model = StudioModel.load(path, config.device)
        if model.complaint:
            print(f"dcgan: directions are left out: {model.complaint}", file=sys.stderr)
        run = find_run(path)
        app = create_app(model, Run(run) if run else None, token=token)
        url = address(listening.getsockname()[1], token)
        print(f"{model.name}: open {url}", flush=True)
        if config.public:
            print(f"anyone who reaches this machine ({socket.gethostname()}) and has the token may use it", flush=True)
        print("Ctrl-C ends it", flush=True)
        if config.open:
            webbrowser.open(url)  # the socket listens already: the browser waits for the first answer
        settings = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            limit_concurrency=512,
            backlog=512,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=2,
        )
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(settings).run(sockets=[listening])


def chosen_model(path: str) -> Path:
    """The model to serve."""
    folder = Path(path)
    if folder.is_dir() and not (folder / MODEL_FILE).exists() and find_run(folder) == folder:
        raise DcganError(f"{folder} has no model yet: its first checkpoint brings one, then the studio can show it")
    return folder


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at `port` (0: any free one); a taken port is a `DcganError`."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(512)
    except OSError as error:
        listening.close()
        raise DcganError(f"cannot listen at port {port} ({error.strerror}): try --port {port + 1 or 7861}") from error
    return listening


def address(port: int, token: str | None) -> str:
    """What to type into the browser on this machine."""
    return f"http://127.0.0.1:{port}/" + (f"?token={token}" if token else "")
