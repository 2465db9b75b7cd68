"""Model files in the programs that run them, behind one interface."""

from edgegolf.runtimes.registry import RUNTIMES, installed_runtimes, open_session
from edgegolf.runtimes.session import Array, Session, TensorInfo
