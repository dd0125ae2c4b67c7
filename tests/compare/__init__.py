"""What others do, side by side with this: `make compare`, which writes `docs/figures.md`.

Everything runs in turns within one run, and everybody signs in at one provider. One file a question: `provider` (who
signs people in), `peers` (what is compared, a table) and `starts` (how each is started), `apps` (what is started),
`sites` and `visitor` (what runs, and who goes there), `behaviour` (what becomes of people), `page` and `charts` (how
it is told).
"""
