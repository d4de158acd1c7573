"""A notebook run in a kernel of its own, which Ctrl-C stops in good order."""

import asyncio
import atexit
import os
import signal
import sys
from pathlib import Path

from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from tumor_mri.site.notebook_files import PageError

TIMEOUT = 1200  # seconds a cell may take
STARTUP = 300  # seconds a kernel may take to start, on a busy machine


class _Client(NotebookClient):
    """Executes a notebook. After Ctrl-C it ends with any error, and `stopped` tells that from a kernel that died.

    jupyter_client gives each kernel a session of its own, so that a terminal's Ctrl-C reaches this process alone.
    """

    stopped, _loop = False, None

    async def async_start_new_kernel(self, **settings):
        """Start the kernel, with our handler of Ctrl-C in the place of nbclient's, which would report a dead kernel."""
        task, self._loop = asyncio.current_task(), asyncio.get_running_loop()

        def stop():
            self.stopped = True
            task.cancel()

        try:
            self._loop.add_signal_handler(signal.SIGINT, stop)
        except RuntimeError:  # in Windows, or not in the main thread
            self._loop = None
        await super().async_start_new_kernel(**settings)

    def let_go(self):
        """Give Ctrl-C back to Python."""
        atexit.unregister(self._cleanup_kernel)
        if self._loop and not self._loop.is_closed():
            self._loop.remove_signal_handler(signal.SIGINT)


def kernel_manager() -> AsyncKernelManager:
    """A manager of a kernel of this Python, whatever kernels the user has installed."""
    manager = AsyncKernelManager(kernel_name="python3")
    manager.kernel_spec.argv[0] = sys.executable
    manager.kernel_spec.argv.append("--IPKernelApp.log_level=40")  # errors only
    return manager


def run(notebook: NotebookNode, path: Path, variables: dict[str, str]) -> None:
    """Run a notebook that was read from `path`, in that folder, and put its outputs into it.

    Args:
        notebook: an ``nbformat`` notebook.
        path: of its file.
        variables: added to the environment of its kernel.

    Raises:
        PageError: if a cell fails or takes too long, or the kernel dies.
        KeyboardInterrupt: after Ctrl-C.
    """
    manager = kernel_manager()
    where = {"metadata": {"path": str(path.parent)}}
    client = _Client(notebook, km=manager, timeout=TIMEOUT, startup_timeout=STARTUP, resources=where, store_widget_state=False)
    try:
        client.execute(env=os.environ | variables)
    except (Exception, asyncio.CancelledError) as error:
        if client.stopped:
            raise KeyboardInterrupt from None
        if not isinstance(error, CellExecutionError | CellTimeoutError | DeadKernelError):
            raise
        said = f"{error.ename}: {error.evalue}" if isinstance(error, CellExecutionError) else f"{type(error).__name__}: {error}"
        raise PageError(f"{path.name} did not run to its end: {' '.join(said.split())}") from error
    finally:
        run_sync(manager.shutdown_kernel)(now=True)
        client.let_go()
    if client.stopped:  # in the moment in which it ended
        raise KeyboardInterrupt
