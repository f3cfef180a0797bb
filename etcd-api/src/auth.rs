//! The Auth service, as far as a store without users needs it: it says that authentication is off,
//! and refuses in so many words what would be needed to turn it on.

use kstore_proto::etcdserverpb::{self as etcd, auth_server::Auth};
use tonic::{Request, Response, Status};

use crate::api::Api;
use crate::error;

/// The revision of a store of users that nothing was written to (etcd's number).
const FIRST_AUTH_REVISION: u64 = 1;

/// Requests that would make users or roles.
macro_rules! unsupported {
    ($($method:ident: $request:ident => $response:ident;)*) => {
        #[tonic::async_trait]
        impl Auth for Api {
            $(
                async fn $method(
                    &self,
                    _request: Request<etcd::$request>,
                ) -> Result<Response<etcd::$response>, Status> {
                    Err(error::AUTH_UNSUPPORTED.into())
                }
            )*

            async fn auth_disable(
                &self,
                _request: Request<etcd::AuthDisableRequest>,
            ) -> Result<Response<etcd::AuthDisableResponse>, Status> {
                // Turning off what is off is no error.
                Ok(Response::new(etcd::AuthDisableResponse { header: Some(self.header_now()) }))
            }

            async fn auth_status(
                &self,
                _request: Request<etcd::AuthStatusRequest>,
            ) -> Result<Response<etcd::AuthStatusResponse>, Status> {
                let header = Some(self.header_now());
                let auth_revision = FIRST_AUTH_REVISION;
                let response = etcd::AuthStatusResponse { header, enabled: false, auth_revision };
                Ok(Response::new(response))
            }

            async fn authenticate(
                &self,
                _request: Request<etcd::AuthenticateRequest>,
            ) -> Result<Response<etcd::AuthenticateResponse>, Status> {
                // Clients that bring a name and a password take this for "come in".
                Err(error::AUTH_NOT_ENABLED.into())
            }
        }
    };
}

unsupported! {
    auth_enable: AuthEnableRequest => AuthEnableResponse;
    user_add: AuthUserAddRequest => AuthUserAddResponse;
    user_get: AuthUserGetRequest => AuthUserGetResponse;
    user_list: AuthUserListRequest => AuthUserListResponse;
    user_delete: AuthUserDeleteRequest => AuthUserDeleteResponse;
    user_change_password: AuthUserChangePasswordRequest => AuthUserChangePasswordResponse;
    user_grant_role: AuthUserGrantRoleRequest => AuthUserGrantRoleResponse;
    user_revoke_role: AuthUserRevokeRoleRequest => AuthUserRevokeRoleResponse;
    role_add: AuthRoleAddRequest => AuthRoleAddResponse;
    role_get: AuthRoleGetRequest => AuthRoleGetResponse;
    role_list: AuthRoleListRequest => AuthRoleListResponse;
    role_delete: AuthRoleDeleteRequest => AuthRoleDeleteResponse;
    role_grant_permission: AuthRoleGrantPermissionRequest => AuthRoleGrantPermissionResponse;
    role_revoke_permission: AuthRoleRevokePermissionRequest => AuthRoleRevokePermissionResponse;
}
