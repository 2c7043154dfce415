import pytest


@pytest.fixture(scope="session")
def qa(make_qa, city_corpus, tmp_path_factory):
    """A model with the index of the cities, for reading only."""
    qa = make_qa(separate=True)
    qa.build_index(city_corpus, tmp_path_factory.mktemp("qa") / "index")
    return qa


@pytest.fixture(scope="session")
def questions(cities):
    names = [article.title for article in cities]
    return [f"When was the school of {name} founded?" for name in names] + [
        "Where is Österreich?",
        "Who?",
        "in which country is " + "Vienna " * 20 + "?",
    ]
