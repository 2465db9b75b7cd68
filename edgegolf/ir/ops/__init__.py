"""What nodes compute: operators named as the field names them, with the semantics of TFLite.

Constants that say how (axes, paddings, slices) are attributes; those that are computed with
(weights, biases) are inputs. Filters are laid out as TFLite does. Each operator knows the shape of
its result, its multiply-accumulates, and which of its inputs hold parameters.
"""

from edgegolf.ir.ops.base import *
from edgegolf.ir.ops.control import *
from edgegolf.ir.ops.elementwise import *
from edgegolf.ir.ops.movement import *
from edgegolf.ir.ops.products import *
from edgegolf.ir.ops.reductions import *
from edgegolf.ir.ops.windows import *
