"""The seal of the test set, which belongs to the images rather than to one sweep.

The rule: before a model is run on the test images, an intent is written to the sweep and to the
ledgers of test sets; and every decision is based on all of these, not on the record of results
alone. Results are shown only if the record, the predictions and the intents agree.
"""
