import os
from typing import Optional
from urllib.parse import unquote

import psycopg
from fastapi import Depends, FastAPI, HTTPException, Request

app = FastAPI()


class User:
    """What the proxy says of whoever sent the request. It has replaced whatever the client sent under these names."""

    def __init__(self, request: Request):
        def header(name: str) -> Optional[str]:
            return unquote(request.headers.get(f"x-auth-request-{name}", "")) or None

        self.id = header("user")
        self.email = header("email")
        self.role = header("role")
        if self.id is None:
            raise HTTPException(401, {"code": "NOT_BEHIND_PROXY"})


@app.get("/me")
def me(user: User = Depends(User)):
    return {"id": user.id, "email": user.email, "role": user.role}


@app.get("/account")
def account(user: User = Depends(User)):
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        row = connection.execute(
            "select id, email, first_name from clerk.users where id = %s and deleted_at is null", (user.id,)
        ).fetchone()
    return {"id": row[0], "email": row[1], "firstName": row[2]}


@app.get("/admin")
def admin(user: User = Depends(User)):
    if user.role != "org:admin":
        raise HTTPException(403, {"code": "ADMINS_ONLY"})
    return {"welcome": user.id}
