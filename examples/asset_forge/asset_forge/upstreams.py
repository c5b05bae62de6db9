"""The two services that the API calls: the image server and the AI upstream."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http import HTTPStatus

import requests

MAX_PNG_BYTES = 1 << 20


class UpstreamError(Exception):
    """A service that the API needs did not do its part; ``status`` is what our caller gets to see."""

    def __init__(self, service: str, reason: str, status: HTTPStatus) -> None:
        super().__init__(f"{service} {reason}")
        self.service = service
        self.status = status


class Upstream:
    """One HTTP service: JSON in, an answer or an UpstreamError out, never slower than its timeout."""

    def __init__(self, name: str, base_url: str, timeout_s: float) -> None:
        self._name = name
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._local = threading.local()

    def post(self, path: str, body: dict[str, object], headers: dict[str, str] | None = None) -> requests.Response:
        """Send a JSON body; raises UpstreamError with 504 on a timeout and 502 on everything else."""
        try:
            response = self._session().post(
                self._base_url + path, json=body, headers=headers, timeout=self._timeout_s, allow_redirects=False
            )
        except requests.Timeout as error:
            reason = f"did not answer within {self._timeout_s:g} s"
            raise UpstreamError(self._name, reason, HTTPStatus.GATEWAY_TIMEOUT) from error
        except requests.RequestException as error:
            raise UpstreamError(self._name, "cannot be reached", HTTPStatus.BAD_GATEWAY) from error
        if response.status_code != HTTPStatus.OK:
            raise UpstreamError(self._name, f"answered {response.status_code}", HTTPStatus.BAD_GATEWAY)
        return response

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False  # a proxy meant for the internet must not see these calls
        return session


class ImageServer:
    """Draws thumbnails."""

    def __init__(self, base_url: str, timeout_s: float) -> None:
        self._upstream = Upstream("image server", base_url, timeout_s)

    def render(self, name: str, kind: str) -> bytes:
        """Return a PNG for an asset."""
        response = self._upstream.post("/render", {"name": name, "kind": kind})
        png = response.content
        if not png.startswith(b"\x89PNG\r\n") or len(png) > MAX_PNG_BYTES:
            raise UpstreamError("image server", "answered with something that is not a PNG", HTTPStatus.BAD_GATEWAY)
        return png


@dataclass(frozen=True)
class ModelDescription:
    """What the AI upstream makes of a prompt."""

    name: str
    kind: str
    polygons: int
    description: str


class AiUpstream:
    """Describes a model for a prompt; stands for a paid service, so it wants an API key."""

    def __init__(self, base_url: str, timeout_s: float, api_key: str) -> None:
        self._upstream = Upstream("AI upstream", base_url, timeout_s)
        self._api_key = api_key

    def describe(self, prompt: str) -> ModelDescription:
        """Return the description of a new model; raises UpstreamError."""
        if not self._api_key:
            reason = "needs a key: set MESHY_API_KEY"
            raise UpstreamError("AI upstream", reason, HTTPStatus.SERVICE_UNAVAILABLE)
        headers = {"Authorization": f"Bearer {self._api_key}"}
        response = self._upstream.post("/v1/models/describe", {"prompt": prompt}, headers)
        try:
            answer = response.json()
            return ModelDescription(
                name=str(answer["name"])[:80],
                kind=str(answer["kind"]),
                polygons=int(answer["polygons"]),
                description=str(answer["description"])[:500],
            )
        except (ValueError, TypeError, KeyError) as error:
            reason = "answered with something that is no model description"
            raise UpstreamError("AI upstream", reason, HTTPStatus.BAD_GATEWAY) from error
