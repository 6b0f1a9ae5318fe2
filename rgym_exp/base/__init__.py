"""What knows nothing of the swarm and is used everywhere, once each. Imports nothing of the other packages.

- ``http_client``  asking a server that may be a stranger's: bounded in size and time, past proxies for this machine
- ``shallow_json`` JSON from strangers, bounded in depth; ``text`` their words, made fit to be shown
- ``outage``       saying once that something fails, and once that it works again; ``back_off`` with growing pauses
- ``files``        atomic writes, the end of a log, setting a damaged file aside; ``sqlite`` opening a database
- ``machine_errors`` a full disk, a file that may not be read, as sentences
- ``lock``         a file that one process at a time holds; ``ports`` which are free
- ``background``   one thread that works off calls in their order
- ``child``        programs that end when we do (``die_with_parent`` on their side); ``parent`` ending when ours does
"""
