# Freshet in a container: the locked dependencies, a user of its own, nothing to build with.
#
#   docker build -t freshet .
#   docker run --init --read-only --tmpfs /tmp --cap-drop=ALL --security-opt=no-new-privileges --stop-timeout=30 \
#     -p 127.0.0.1:8765:8765 -v freshet-state:/var/lib/freshet -v "$PWD/plugins:/srv/freshet/plugins:ro" freshet
#
# --init: what steps leave behind is reaped. --stop-timeout: over shutdown_grace, and the last writes. Secrets: mount them
# as files, and name them by secret="file:/run/secrets/NAME".

# For a build that comes out the same for ever, add the digest that your registry has for it: NAME:TAG@sha256:...
ARG PYTHON_IMAGE=python:3.13.7-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv /opt/freshet
# First what changes seldom: a new commit builds from here on without the network.
COPY requirements.lock ./
RUN /opt/freshet/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY daemon daemon
COPY sensors sensors
RUN /opt/freshet/bin/pip install --no-index --no-deps --no-build-isolation . \
    && /opt/freshet/bin/pip uninstall --yes editables hatchling packaging pathspec pluggy trove-classifiers pip
# The shipped settings, at the places of this image; a configuration of your own is mounted over it.
COPY config/freshet.toml shipped.toml
RUN sed -e 's|^state_dir = .*|state_dir = "/var/lib/freshet"|' \
        -e 's|^plugins_dir = .*|plugins_dir = "/srv/freshet/plugins"|' \
        -e 's|^root = .*|root = "/srv/freshet"|' \
        -e 's|^host = .*|host = "0.0.0.0"|' \
        shipped.toml > freshet.toml

FROM ${PYTHON_IMAGE}
RUN groupadd --system --gid 10001 freshet \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/freshet --shell /usr/sbin/nologin freshet \
    && install -d -o freshet -g freshet -m 0700 /var/lib/freshet \
    && install -d -o freshet -g freshet /srv/freshet/inbox \
    && install -d /srv/freshet/plugins
COPY --from=build /opt/freshet /opt/freshet
COPY --from=build /build/freshet.toml /etc/freshet/freshet.toml
ENV PATH=/opt/freshet/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# By number, so that `runAsNonRoot` can be checked without the image.
USER 10001:10001
WORKDIR /srv/freshet
VOLUME ["/var/lib/freshet"]
EXPOSE 8765
STOPSIGNAL SIGTERM
# Over the Unix socket: a loop that stands still does not answer.
HEALTHCHECK --interval=30s --timeout=10s --start-period=2m --retries=3 CMD ["freshet", "status"]
ENTRYPOINT ["freshet"]
CMD ["run"]
