"""What a model file costs and how good it is: size, memory, latency, accuracy.

`edgegolf.bench.bench` has `bench` and its options, `edgegolf.bench.result` the results,
`edgegolf.bench.gate` limits for them. Nothing is imported here, because the processes that
measure import this package too and must stay small.
"""
