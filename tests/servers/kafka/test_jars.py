"""The list of jars."""

from shoplab.servers.kafka import jars


def test_a_jar_lies_where_maven_repositories_keep_it():
    jar = jars.Jar("org.apache.kafka", "kafka_2.13", "4.3.1", "ab" * 32, 7)
    assert jar.path == "org/apache/kafka/kafka_2.13/4.3.1/kafka_2.13-4.3.1.jar"


def test_every_listed_jar_has_a_checksum_a_size_and_a_name_of_its_own():
    known = jars.listed_jars()
    assert all(len(jar.sha256) == 64 and int(jar.sha256, 16) and jar.size > 0 for jar in known)
    assert len({jar.name for jar in known}) == len(known) > 50


def test_the_list_is_sorted_because_the_class_path_must_not_change():
    lines = jars.LIST.read_text().splitlines()
    assert lines == sorted(lines)
