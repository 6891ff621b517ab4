"""The demonstration: real handwriting, a hidden confounder, and the truth beside it.

| Question | File |
|---|---|
| What is run, with how many rows, steps and samples? | `study` |
| How close are the answers to the truth? | `findings` |
| What is printed? | `prose` |
| What do the pictures show? | `pictures` |
| What is in the report? | `report` |
"""

from causal_diffusers.demo.findings import Answers, Findings
from causal_diffusers.demo.study import Study, run

__all__ = ["Answers", "Findings", "Study", "run"]
