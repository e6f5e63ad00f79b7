"""The address of a Ray cluster: whether Ray answers there and takes this process's token, asked before Ray itself is.

Ray waits 100 s for something that is not Ray, and half a minute with a token that the cluster refuses, and names
neither.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from platform.core.errors import Problem, UserError

__all__ = ["check_address", "no_cluster"]

CONNECT_SECONDS, ANSWER_SECONDS = 3.0, 4.0
_CLIENT = "ray://"
_TOKENS = "RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH names, or ~/.ray/auth_token"


def check_address(address: str) -> None:
    """Raises UserError unless Ray answers at the address (HOST:PORT, ray://HOST:PORT or auto) and lets us in."""
    target = _target(address)
    header = _token_header()
    _connect(address, target)
    _ask(address, target, header)


def _target(address: str) -> str:
    """HOST:PORT that ray.init will connect to. Ray's environment must be set: see cluster.prepare."""
    from ray._private import services
    from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available

    if address == "auto":
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)  # as ray.init does
        found = services.canonicalize_bootstrap_address(address)
        if found is None:
            raise no_cluster(address, "no Ray runs on this machine")
        return found
    host, _, port = address.removeprefix(_CLIENT).rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise no_cluster(address, "an address is HOST:PORT, ray://HOST:PORT or auto")
    if not address.startswith(_CLIENT):
        host = services.resolve_ip_for_localhost(host)  # as ray.init does: 127.0.0.1 becomes the machine's address
    return f"{host}:{port}"


def _connect(address: str, target: str) -> None:
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise no_cluster(address, str(error)) from error


def _ask(address: str, target: str, header: list[tuple[str, str]]) -> None:
    """One question that every Ray answers, by the protocol of the address's kind."""
    import grpc

    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            _question(channel, address.startswith(_CLIENT))(timeout=ANSWER_SECONDS, metadata=header)
        except grpc.RpcError as error:
            call: Any = error
            code, details = call.code(), (call.details() or "").splitlines()
            if code == grpc.StatusCode.UNAUTHENTICATED:
                raise _refused(address) from error
            if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise no_cluster(address, "what accepts the connection says nothing: that is not Ray") from error
            if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED):
                raise no_cluster(address, f"what answers is not Ray ({''.join(details[:1])})") from error
            # Any other answer is one of Ray's: it is up, and ray.init says more.


def _question(channel: Any, client: bool) -> Any:
    from functools import partial

    if client:
        from ray.core.generated import ray_client_pb2, ray_client_pb2_grpc

        ping = ray_client_pb2.ClusterInfoRequest(type=ray_client_pb2.ClusterInfoType.PING)  # pyright: ignore
        return partial(ray_client_pb2_grpc.RayletDriverStub(channel).ClusterInfo, ping)
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    alive = gcs_service_pb2.CheckAliveRequest()  # pyright: ignore
    return partial(gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel).CheckAlive, alive)


def _token_header() -> list[tuple[str, str]]:
    """The header with the token that Ray's own requests carry; empty where RAY_AUTH_MODE does not ask for a token."""
    from ray import _raylet
    from ray.exceptions import AuthenticationError

    compiled: Any = _raylet
    if compiled.get_authentication_mode() != compiled.AuthenticationMode.TOKEN:
        return []
    try:
        header = compiled.AuthenticationTokenLoader.instance().get_token_for_http_header()
    except AuthenticationError as error:
        hint = f"RAY_AUTH_MODE=token needs one, in {_TOKENS}"
        raise UserError(Problem("there is no token to show to the cluster", key="--address", hint=hint)) from error
    return [(name.lower(), value) for name, value in header.items()]


def _refused(address: str) -> UserError:
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "token":
        message = f"the cluster at {address} refuses the token"
        hint = f"it is looked for in {_TOKENS}; ray get-auth-token prints the cluster's, on its head"
    else:
        message = f"the cluster at {address} asks for a token, and none was sent"
        hint = f"RAY_AUTH_MODE=token sends the one in {_TOKENS}"
    return UserError(Problem(message, key="--address", hint=hint))


def no_cluster(address: str, reason: str) -> UserError:
    return UserError(
        Problem(
            f"no Ray cluster answers at {address}: {reason.splitlines()[0] if reason else ''}",
            key="--address",
            hint=f"is it up?        ray status --address {address}\nwithout --address the sweep runs on this machine",
        )
    )
