from pretune.text.example import Message


def test_a_turn_that_only_calls_a_tool_is_still_something_to_learn():
    assert Message("assistant", "", '[{"x": 1}]').said == '[{"x": 1}]'
    assert Message("assistant", "Let me see.", "[1]").said == "Let me see.\n[1]"
    assert Message("user", "Hi").said == "Hi"
