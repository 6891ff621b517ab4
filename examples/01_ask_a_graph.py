"""Which causal questions can be answered from what was observed? No torch, no data.

python examples/01_ask_a_graph.py
"""

import argparse

import causal_diffusers as cd

argparse.ArgumentParser(description=__doc__).add_argument("--smoke", action="store_true")

# Smoking, tar in the lungs, cancer. Something hidden, perhaps a gene, makes people smoke
# and makes them ill: the bidirected edge.
G = cd.ADMG.parse("smoking -> tar -> cancer; smoking <-> cancer")

estimand = cd.identify(G, outcomes="cancer", do="smoking")
print(f"{estimand.query} = {estimand}")

# Without tar in between, two worlds agree on all that was observed and differ in the answer.
bow = cd.ADMG.parse("smoking -> cancer; smoking <-> cancer")
try:
    cd.identify(bow, outcomes="cancer", do="smoking")
except cd.NotIdentifiableError as error:
    print(f"\n{error}")

# What has to be trained together, and in which order.
print("\nPlan")
for stage in cd.HGraph(G).plan():
    print(f"  train {sorted(stage.variables)}, with {sorted(stage.frozen) or 'nothing'} frozen")
