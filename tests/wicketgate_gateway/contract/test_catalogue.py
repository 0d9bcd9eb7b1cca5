import msgspec

from wicketgate_gateway.contract.catalogue import Catalogue, Column, Relation


def test_it_travels_as_messagepack_and_comes_back_the_same():
    catalogue = Catalogue(
        "v1",
        "18.4",
        [Relation(16400, "public", "mail", "v", [Column(1, "address", 25)], [(16390, 3), (16391, 0)])],
        ["pg_class"],
        [("public", "f")],
        [(16401, 16390)],
    )
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(catalogue), type=Catalogue) == catalogue


def test_an_older_agents_catalogue_without_inheritance_is_read():
    plain = {"version": "1", "server_version": "18", "relations": [], "system": []}
    assert msgspec.convert(plain, Catalogue).inherits == []
