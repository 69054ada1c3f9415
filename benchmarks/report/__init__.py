"""The speed report: benchmarks/results/*.json as benchmarks/REPORT.md, its charts, and README's section on speed.

    python -m benchmarks.report                  # every result in benchmarks/results/
    python -m benchmarks.report RESULT.json ...  # these
    python -m benchmarks.report --check          # writes nothing; fails where a text is not what the results give

reading.py reads them into results.py, units.py words numbers, growth.py measures curves, work.py and budget.py word
what was counted; tables.py, document.py and readme.py write, style.py and charts*.py draw.
"""
