from model import load


def test_transfer(robustness):
    robustness(load("model.pt"), suite="digits-standard", allowance=0.014)
