"""cronsim, right also where a zone puts its clocks forward by half an hour (Australia/Lord_Howe)."""

from __future__ import annotations

from cronsim import CronSim


class Cron(CronSim):
    """The due datetimes of a five-field expression after a given one."""

    def advance_hour(self) -> bool:
        """As its parent, but from the top of one hour to the top of the next, however long the hour is."""
        if self.dt.hour in self.hours:
            return False
        self.dt = self.dt.replace(minute=0, second=0)
        while self.dt.hour not in self.hours:
            self.tick(seconds=3600 - 60 * self.dt.minute)
            if self.dt.hour == 0:
                break
        return True
