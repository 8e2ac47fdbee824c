import sys, hashlib, numpy as np
from saddlery import Experiment, train
from saddlery.rules import Muon, SpectralDescent, SchattenDescent
from saddlery.training import Stop
for name in ("linear","relu"):
    for r in (Muon(1e-3),SpectralDescent(1e-3),SchattenDescent(1e-3)):
        e=Experiment.named(name).replace(rule=r,stop=Stop(steps=60))
        t=train(e).trajectory
        print(name,r.kind,e.identity if hasattr(e,'identity') else '',hashlib.md5(t.states.tobytes()).hexdigest(), t.states[-1].sum())
