'use strict';

// class-validator catches what is thrown here, so IsPhoneNumber refuses every value.
exports.parsePhoneNumber = () => {
  throw new Error('This service has no rules of phone numbers.');
};
