"""The seams: where one program judges a path and another serves it.

One table of routes is served by each framework, behind each server (and front), and asked for in every spelling that
the generator thinks of. The application itself says which handler ran. The property: no protected handler ran for
nobody, none that needs a scope ran without it, and every plainly written path still works.

`routes` is the table, `generate` the requests, `apps` the frameworks, `deliver` what servers make of a request in
process, `wire` what real ones do with its bytes, `fronts` what stands before them. `python -m tests.seams --minutes 20`
runs it for as long as one likes.
"""
