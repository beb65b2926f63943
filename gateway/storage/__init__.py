"""Bytes from elsewhere, and to elsewhere: providers by scheme, and one fetch for many askers.

`provider` says what every storage can do, `providers` which one a URL belongs to.

the storages        http; huggingface (hf_address, hf_errors, hf_files, hf_library, hf_upload, and
                    hf_whole with hf_program: hf_xet in a process of its own); civitai; s3, gcs and
                    azure (azure_account, azure_sas) over objectstore (objectstore_failures); file
on the way in       fetcher (inputs: small, one part file), download (weights: many connections,
                    resumed after a kill); both are a transfer (tried again, never stitched) with
                    its spans, pace, trials, crew and partial or partfile; journal (what of a part
                    is here)
one of many         flights (one piece of work, many askers in this process), claim (one writer
                    among all processes and hosts: claimfile, author)
at the seam         address (URLs as written, and shown), credentials (which goes where), guard
                    (which addresses may be reached), tunnel (the same for the object stores'
                    client), reply (what an answer says of a file), posting (bodies on their way to
                    a receiver), failures (what went wrong, whose fault it is, whether to try
                    again)
"""
