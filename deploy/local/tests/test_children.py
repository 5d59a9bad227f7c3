"""What a child of ours is: gone with its parent, somebody else where root says so, and always there."""

import asyncio
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import grpc.aio
import psutil
import pytest

from lyceum_local.children import bound


def test_the_child_ends_when_its_parent_is_killed() -> None:
    """And a child that is not bound does not: the control."""
    script = """if True:
        import signal, subprocess, time
        from lyceum_local.children import bound
        sleep = ["sleep", "600"]
        children = [subprocess.Popen(bound(sleep, signal.SIGKILL)), subprocess.Popen(sleep)]
        print(*(c.pid for c in children), flush=True)
        time.sleep(600)"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        ours, free = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        parent.kill()
    try:
        if sys.platform == "linux":
            psutil.wait_procs([ours], timeout=20)
            assert not ours.is_running() or ours.status() == psutil.STATUS_ZOMBIE
        assert free.is_running()
    finally:
        free.kill()


def test_a_parent_that_was_quicker_to_end_leaves_no_child() -> None:
    command = bound([sys.executable, "-c", "print('here')"], signal.SIGKILL)
    command[4] = "1" if os.getpid() != 1 else "2"  # somebody else's child
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == ("" if sys.platform == "linux" else "here\n")


def test_what_cannot_be_run_says_so() -> None:
    with pytest.raises(FileNotFoundError, match="No such file or directory: '/nowhere/postgres'"):
        bound(["/nowhere/postgres"], signal.SIGKILL)


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root may")
def test_root_starts_it_as_another_user_with_that_users_groups() -> None:
    command = bound(["cat", "/proc/self/status"], signal.SIGKILL, user="nobody")
    ran = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True)
    status = {
        key: value.split() for key, _, value in (line.partition(":") for line in ran.stdout.splitlines())
    }
    user = pwd.getpwnam("nobody")
    assert status["Uid"] == [str(user.pw_uid)] * 4
    assert status["Gid"] == [str(user.pw_gid)] * 4
    assert status["Groups"] == [str(user.pw_gid)]


@pytest.fixture
async def traffic() -> AsyncIterator[None]:
    """This process with its threads in gRPC, as a test's or a service's is."""

    async def echo(request: bytes, _: object) -> bytes:
        return request

    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler(
        "lyceum.Echo", {"Say": grpc.unary_unary_rpc_method_handler(echo)}
    )
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        say = channel.unary_unary("/lyceum.Echo/Say")  # pyright: ignore[reportUnknownVariableType] - bytes

        async def talk() -> None:
            while True:
                await say(b"x", timeout=20)
                await asyncio.sleep(0.01)

        talking = [asyncio.create_task(talk()) for _ in range(8)]
        yield
        for task in talking:
            task.cancel()
        told = await asyncio.gather(*talking, return_exceptions=True)
        assert all(isinstance(t, asyncio.CancelledError) for t in told)
    await server.stop(0)


async def test_it_starts_whatever_grpc_is_doing(traffic: None) -> None:
    """With `preexec_fn` one in some two hundred is aborted by gRPC before it begins."""
    for _ in range(150):
        child = await asyncio.create_subprocess_exec(*bound(["true"], signal.SIGKILL))
        assert await child.wait() == 0
