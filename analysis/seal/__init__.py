"""The seal of the test set: it belongs to the images, not to one sweep.

The rule: whoever is about to show a model the test images first writes down that it will (an
intent), in the sweep and in the ledgers of test sets, and every decision asks all of these, not the
record of results alone. Results are shown only where record, predictions and intents agree.
"""
