"""Where the servers are and how much the shop takes on: from the environment, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """One field for each variable of the same name, as in ``DATABASE_URL``. Times are in seconds.

    Addresses hold passwords, so they are secrets: printed or logged they show as asterisks.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    database_url: SecretStr
    redis_url: SecretStr
    kafka_bootstrap_servers: str
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: str = ""
    kafka_sasl_username: str = ""
    kafka_sasl_password: SecretStr = SecretStr("")
    kafka_ssl_cafile: Path | None = None
    bank_url: str = ""
    shop_log_key: SecretStr = Field(
        SecretStr(""), description="of the pseudonyms in logs; without it nobody can be searched"
    )

    shop_broker: Literal["kafka-python", "confluent"] = "kafka-python"
    shop_prefix: str = Field("", description="put before each topic and group")
    shop_partitions: int = Field(6, ge=1, description="of each topic: as many workers share it")
    shop_replicas: int = Field(1, ge=1, description="of each topic")
    shop_requests: int = Field(
        64, ge=1, description="served at the same time; more are turned away"
    )
    shop_at_a_time: int = Field(16, ge=1, description="orders that a worker handles side by side")
    shop_deadline: float = Field(2.0, gt=0, description="for a request of a customer")
    shop_bank_deadline: float = Field(5.0, gt=0, description="for the bank, tries included")
    shop_order_deadline: float = Field(30.0, gt=0, description="for an order before it is paid")
    shop_session: float = Field(6.0, gt=0, description="before a silent worker is replaced")
    shop_drain: float = Field(10.0, gt=0, description="to finish what was begun, after SIGTERM")

    def kafka(self) -> dict[str, Any]:
        """Where Kafka is and how to log in there, in the names of ``kafka-python``."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.kafka_bootstrap_servers.split(","),
            "security_protocol": self.kafka_security_protocol,
        }
        if self.kafka_sasl_mechanism:
            options |= {
                "sasl_mechanism": self.kafka_sasl_mechanism,
                "sasl_plain_username": self.kafka_sasl_username,
                "sasl_plain_password": self.kafka_sasl_password.get_secret_value(),
            }
        if self.kafka_ssl_cafile:
            options["ssl_cafile"] = str(self.kafka_ssl_cafile)
        return options
