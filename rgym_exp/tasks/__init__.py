"""Problems from reasoning-gym, prompts, and the scoring sandbox.

The map, in the order of a problem's life:

- ``file``            the tasks file (yaml): datasets, weights, prompt, how answers are scored
- ``allowlist``       which of reasoning-gym's datasets a swarm may use, and why the others are left out
- ``drawing``         which problem a (swarm, round, peer, slot) gets; which problems are held out
- ``datasets``        reasoning-gym's dataset objects, as a tasks file wants them
- ``answers``         the answer inside a completion
- ``scoring_sandbox`` scores answers in a separate, confined process
- ``worker_process``  that process as the node sees it: start, send, receive, kill
- ``scoring_worker``  that process from inside
- ``source``          the seam: ``TaskSource`` and ``ReasoningGymTasks``
"""
