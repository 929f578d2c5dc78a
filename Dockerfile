# msanii on any machine that has Docker:
#   docker build -t msanii . && docker run --rm -v "$PWD/outputs:/outputs" msanii demo --out /outputs
#   docker run --rm -p 8888:8888 --entrypoint jupyter msanii lab --ip 0.0.0.0 --allow-root nbs
FROM python:3.12-slim-bookworm
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends git libfluidsynth3 && rm -rf /var/lib/apt/lists/*
WORKDIR /msanii
COPY . .
RUN pip install --no-cache-dir -c constraints.txt -e '.[course,app]' jupyterlab
ENV OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0
ENTRYPOINT ["msanii"]
CMD ["--help"]
