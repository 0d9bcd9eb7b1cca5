from wicketgate_gateway.masking.hiding import hide

KEY = b"k" * 32


def test_what_meets_masked_columns_is_hashed_and_becomes_text():
    shown, formats = hide([b"ann@x", b"\0\0\0\7", None, b"ann@x"], [1], [1, 3, 4, 9], KEY)
    assert shown[0] == shown[3] != b"ann@x"
    assert shown[0] is not None
    assert len(shown[0]) == 16
    assert shown[1:3] == [b"\0\0\0\7", None]
    assert formats == [0, 1, 1, 0]


def test_formats_as_in_bind():
    assert hide([b"a", b"b"], [], [], KEY) == ([b"a", b"b"], [0, 0])
    assert hide([b"a", b"b"], [0, 1], [2], KEY)[1] == [0, 0]
    assert hide([], [], [1], KEY) == ([], [])
    assert hide([b"a"], [], [1], KEY) != hide([b"a"], [], [1], b"other")
