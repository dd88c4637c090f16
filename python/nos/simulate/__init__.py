"""Replay a trace through the core: the scheduler that runs in a cluster, without one.

    read.read / generate.generate -> Trace -> replay.replay -> Replay -> result (JSON, CSV), report (HTML)

Pods arrive one after another and stay. One that fits nowhere when it arrives is refused for good. There is no clock in
it and nothing random: the same Trace and policy give the same placements.
"""
