r"""What a variable is: the names of its values, the shape of its images.

A variable turns what users write (labels, codes, PIL images, arrays, paths) into
tensors and back. Inside the library a categorical value is an integer code, a continuous
one standardised floats and an image a float tensor in [-1, 1]; outside, labels, numbers in
the user's units, and images in [0, 1] as everywhere in diffusers.

| file | what | outside | inside |
|---|---|---|---|
| `categorical` | finitely many named values | labels | codes 0..K-1 |
| `continuous` | numbers, or vectors of them | the user's units | standardised floats |
| `image` | images of one shape | [0, 1], PIL images, files | floats in [-1, 1] |
| `pixels` | reading an image, whatever holds it | | |
| `description` | a variable in plain JSON | | |
| `experiment` | what was set by hand, and to what | names | codes |
| `confounder` | a hidden common cause | | floats, or states 0..K-1 |

A confounder is no variable, for nobody observes it, but it too has a type:
$u \sim N(0, I)$ in `dim` dimensions, or one of finitely many `states`.
"""

from causal_diffusers.variables.base import Variable
from causal_diffusers.variables.categorical import Categorical
from causal_diffusers.variables.confounder import Confounder
from causal_diffusers.variables.continuous import Continuous
from causal_diffusers.variables.description import variable_from_dict
from causal_diffusers.variables.experiment import Experiment
from causal_diffusers.variables.image import Image

__all__ = [
    "Categorical",
    "Confounder",
    "Continuous",
    "Experiment",
    "Image",
    "Variable",
    "variable_from_dict",
]
