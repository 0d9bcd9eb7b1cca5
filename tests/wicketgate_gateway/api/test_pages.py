"""The one page: the same for every handle, with nothing in it that runs."""

from wicketgate_gateway.api import pages


def test_the_page_names_the_handle_and_escapes_it() -> None:
    text = bytes(pages.approval("<script>x</script>").body).decode()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "<form" not in text
    one, other = (bytes(pages.approval(handle).body).decode() for handle in ("hold-111111", "hold-222222"))
    assert one.replace("111111", "222222") == other
