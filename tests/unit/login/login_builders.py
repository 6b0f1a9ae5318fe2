"""Login plans and pretend programs for the tests of the login package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rgym_exp.base.ports import free_port
from rgym_exp.login.login_plan import LoginPlan

CONTRACT = "0x5afE56e7A0B986fB31e3830a70fd7cd38250A9e2"

# Stands in for the built server: answers health as it does, from the same variables, and nothing else. The real one is
# started in tests/integration/test_login_command.py.
SERVER = """
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'

if (process.env.TEST_ENDS_AT_ONCE) {
  console.error('no room for a server here')
  process.exit(3)
}
if (process.env.LOGIN_ENDS_WITH_STDIN === '1')
  process.stdin.on('end', () => process.kill(process.pid, 'SIGTERM')).resume()
const health = {
  service: 'rl-swarm-login',
  version: '0',
  wallet: process.env.LOGIN_WALLET,
  chainId: Number(process.env.SWARM_CHAIN_ID),
  contract: process.env.SWARM_CONTRACT_ADDRESS || null,
  market: process.env.PRG_CONTRACT_ADDRESS || null,
  dataDir: createHash('sha256').update(process.env.LOGIN_DATA_DIR).digest('hex'),
}
createServer((request, response) => {
  const answers = { '/api/health': health, '/api/account': null }
  response.setHeader('content-type', 'application/json')
  response.statusCode = request.url in answers ? 200 : 404
  response.end(JSON.stringify(answers[request.url] ?? null))
}).listen(Number(process.env.LOGIN_PORT), '127.0.0.1')
"""


def pretend_app(folder: Path) -> Path:
    """A login program that is built and has no sources, as in an image."""
    (folder / ".next" / "standalone").mkdir(parents=True)
    (folder / ".next" / "standalone" / "server.js").touch()
    (folder / "scripts").mkdir()
    (folder / "scripts" / "start.mjs").write_text(SERVER)
    return folder


def plan_in(tmp_path: Path, **changes: Any) -> LoginPlan:
    """A plan for a pretend program below ``tmp_path``, on a free port."""
    app = tmp_path / "app"
    given: dict[str, Any] = {
        "app_dir": app if app.exists() else pretend_app(app),
        "data_dir": tmp_path / "data",
        "wallet": "local",
        "chain_id": 31337,
        "rpc_url": "http://127.0.0.1:9",
        "contract": CONTRACT,
        "port": free_port(),
        "log_file": tmp_path / "logs" / "yarn.log",
    }
    return LoginPlan(**{**given, **changes})
