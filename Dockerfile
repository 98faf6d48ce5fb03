# The service of docs/serve.md: a user without rights, on a file system that may be read-only.
#   docker build -t upres . && docker run --read-only --tmpfs /tmp -e UPRES_TOKEN=... -p 8765:8765 upres
FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN python -m venv /opt/upres \
    && /opt/upres/bin/pip install --no-cache-dir --constraint constraints.txt '.[serve,formats,geo,medical]'

FROM python:3.11-slim
COPY --from=build /opt/upres /opt/upres
USER 10001:10001
# Nothing but /tmp is written to: pictures lie there while they are worked on.
ENV HOME=/tmp TMPDIR=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
EXPOSE 8765
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["/opt/upres/bin/python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/health/ready', timeout=4)"]
# It needs a token, as UPRES_TOKEN. Processors and memory go by the container's limits.
ENTRYPOINT ["/opt/upres/bin/upres", "serve", "--host", "0.0.0.0"]
