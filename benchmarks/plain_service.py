"""A service as most projects write it, for ``service.py`` to compare with: FastAPI, Pillow, ONNX
Runtime, a function of ten lines. ``python plain_service.py MODEL.onnx`` prints its address.

It has no queue, no limits, no plan, no progress, and keeps no metadata.
"""

from __future__ import annotations

import io
import socket
import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from PIL import Image


def main() -> None:
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    app = FastAPI()

    def enlarged(content: bytes) -> bytes:
        picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.float32) / 255
        (planes,) = session.run(None, {name: picture.transpose(2, 0, 1)[None]})
        samples = np.rint(planes[0].transpose(1, 2, 0).clip(0, 1) * 255).astype(np.uint8)
        made = io.BytesIO()
        Image.fromarray(samples).save(made, "JPEG", quality=98, subsampling=0)
        return made.getvalue()

    @app.post("/enlarge")
    async def enlarge(request: Request) -> Response:
        content = await request.body()
        return Response(await run_in_threadpool(enlarged, content), media_type="image/jpeg")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}/", file=sys.stderr, flush=True)
        config = uvicorn.Config(app, log_level="error", access_log=False)
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
