"""Weights on disk: what a graph needs, the hashed LRU cache, and what ComfyUI sees of it.

`library` is the door: URLs go in, names that ComfyUI lists come out. Behind it, from a graph to
the disk:

what is wanted      resolver (inputs of a graph that name weights), repositories (whole ones),
                    wanted (what is asked, what is answered), names (what a URL's file is called)
the cache           cache (one `get`: here already, or fetched once for all who ask),
                    admission (is what lies here whole), access (who may have it), verify (is it
                    a model, from its bytes) and safetensors_header, fetch (one file on its way
                    in), downloads (its progress, shown), inventory (what is here, shown and
                    deleted)
room in it          room (reserves, evicts, waits), seats (who is on the way in, whose turn it is),
                    decision and eviction (pure: may it, and what goes for it)
what is known       index (files in memory, by last use), pins (who needs which), uses (what was
                    used lately), peers (what other processes that share the folder have in use)
on the disk         layout (where things lie), shelf (the files), record (what stands beside each),
                    keeper (writes uses, links and word to the peers, in the background)
what ComfyUI sees   links (made, and known), link_plan (pure: what to do about a place),
                    link_names (what may be a name, which folders there are)
checksums           hashes (of what jobs use, read in their wake), checksums (remembered)
"""
