"""The login server on this machine: built, started, shared by nodes, and waited for.

Map, from what a person sees to what it stands on:

- ``session``   a server, the words that lead a person to it, and the wait until somebody is logged in
- ``node_page`` the same server as a node's own web page, in the background of a run
- ``waiting``   the states of a login, each in a sentence; ``addresses`` where the page is, also from elsewhere;
  ``browser`` opening it
- ``server``    the server's process, its port, and who of several nodes runs it; ``login_plan`` which one
- ``app``       the program, built when it is needed; ``node_js`` what runs it
- ``token``     without which the server changes nothing
- ``key_file``  the account without a browser; ``choice`` which account mode this node has
"""
