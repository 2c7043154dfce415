from realm_tf.data.corpus.formats.marked_up import (
    plain_html,
    plain_markdown,
)


def test_html_without_what_no_reader_sees():
    page = plain_html(
        "<!doctype html><html><head><title> Emma &amp; co </title>"
        "<style>p {}</style><script>let x = '<p>';</script></head><body>"
        "<nav>Home</nav><h1>Heading</h1><p>A\nwrapped <i>line</i>.</p>"
        "<ul><li>one<li>two</ul><table><tr><td>a</td><td>b</td></tr></table>"
        "<pre>x = 1\ny = 2</pre>caf&eacute;<!-- no --></body></html>"
    )
    assert page.title == "Emma & co"
    assert page.text.split("\n") == [
        "Heading",
        "A wrapped line.",
        "one",
        "two",
        "a b",
        "x = 1",
        "y = 2",
        "café",
    ]


def test_a_heading_is_the_title_of_a_page_without_one():
    assert plain_html("<h1>Em<b>ma</b></h1><h1>Two</h1>").title == "Emma"
    assert plain_html("text").title == ""


def test_a_head_that_is_not_closed_hides_nothing():
    assert plain_html("<head><title>a</title><body>text").text == "text"


def test_markdown_keeps_the_text_of_links_code_and_tables():
    page = plain_markdown(
        "# Emma\n\nBy [Jane Austen](austen.md), *1815*.\n\n"
        "```python\nx = 1\ny < 2\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    )
    assert page.title == "Emma"
    assert page.text.split("\n") == [
        "Emma",
        "By Jane Austen, 1815.",
        "x = 1",
        "y < 2",
        "a b",
        "1 2",
    ]


def test_front_matter_is_no_text_but_names_the_title():
    page = plain_markdown('---\ntitle: "Emma"\ntags: [a]\n---\n# X\n\ntext')
    assert page == ("Emma", "X\ntext")
    assert plain_markdown("---\ntags: a\n---\n# X\n").title == "X"
