# The sidecar: control, a worker or the mock providers, by command. Envoy is its own image.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY extproc extproc
# Without the extra `envoy`: its binary is 120 MB and in Envoy's image already.
RUN python -m venv /opt/extproc \
 && /opt/extproc/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt . \
 && /opt/extproc/bin/python -m compileall -q /opt/extproc/lib \
 && /opt/extproc/bin/pip uninstall -y -q pip setuptools

FROM python:3.11-slim
COPY --from=build /opt/extproc /opt/extproc
# State and sockets; a named volume that is empty takes this folder's owner.
RUN install -d -o 65532 -g 65532 -m 0700 /var/lib/extproc
ENV PATH=/opt/extproc/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# As `extproc run` tells its workers: large bodies go back to the system at once.
ENV MALLOC_MMAP_THRESHOLD_=4194304 MALLOC_TRIM_THRESHOLD_=8388608
USER 65532:65532
VOLUME /var/lib/extproc
CMD ["extproc", "--help"]
