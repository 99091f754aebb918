"""One function per operator of PyTorch. Importing this package fills `snnir.frontends.torch.registry.HANDLERS`."""

from snnir.frontends.torch.handlers import activation as activation
from snnir.frontends.torch.handlers import affine as affine
from snnir.frontends.torch.handlers import arithmetic as arithmetic
from snnir.frontends.torch.handlers import choices as choices
from snnir.frontends.torch.handlers import complex_numbers as complex_numbers
from snnir.frontends.torch.handlers import enlarge as enlarge
from snnir.frontends.torch.handlers import finite as finite
from snnir.frontends.torch.handlers import integers as integers
from snnir.frontends.torch.handlers import joining as joining
from snnir.frontends.torch.handlers import maps as maps
from snnir.frontends.torch.handlers import movement as movement
from snnir.frontends.torch.handlers import normalise as normalise
from snnir.frontends.torch.handlers import places as places
from snnir.frontends.torch.handlers import pooling as pooling
from snnir.frontends.torch.handlers import quantizers as quantizers
from snnir.frontends.torch.handlers import recurrent as recurrent
from snnir.frontends.torch.handlers import sampling as sampling
from snnir.frontends.torch.handlers import scan as scan
from snnir.frontends.torch.handlers import shapes as shapes
from snnir.frontends.torch.handlers import signals as signals
from snnir.frontends.torch.handlers import tokens as tokens
