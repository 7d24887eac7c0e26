"""Error rates and costs of exits and policies over a manifest: `ee-ref eval`.

    manifest.read -> run.run -> run.table -> report.report

`ee_ref.calibration` fits policies to the same measurements.
"""
