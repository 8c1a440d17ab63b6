"""Tables for a terminal."""

from scmultimodal.evaluation import text_table

ROWS = [["model", "set", "accuracy"], ["ours", "mouse", ".78"], ["bayes", "man", ".7"]]


def test_names_stand_left_and_numbers_right_below_a_rule():
    assert text_table.aligned(ROWS, names=2, ruled=True).splitlines() == [
        "model  set    accuracy",
        "-----  -----  --------",
        "ours   mouse       .78",
        "bayes  man          .7",
    ]


def test_no_column_of_names_and_no_rule():
    assert text_table.aligned([["step", "loss"], ["10", ".5"]], names=0) == (
        "step  loss\n  10    .5"
    )


def test_no_line_ends_in_blanks():
    assert (
        text_table.aligned([["model", "gain"], ["bayes", ""]]) == "model  gain\nbayes"
    )
